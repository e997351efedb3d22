"""What holds at a generic point."""
