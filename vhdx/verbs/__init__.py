"""What can be done to images and chains."""
