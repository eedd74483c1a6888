"""What makes a picture worse and leaves its meaning alone, one file each family."""
