"""What runs on a computer: the hub, the demo, and the tools that prepare and look after a gateway."""
