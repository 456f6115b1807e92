"""What is signed and sent: encodings, signatures, batches, beats and receipts."""
