"""What lies in a folder of images, and the description that follows from it."""
