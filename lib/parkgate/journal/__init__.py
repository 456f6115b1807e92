"""What is kept on flash through power cuts."""
