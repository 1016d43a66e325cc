"""The data set: annotation files, image folders, their inspection and download."""
