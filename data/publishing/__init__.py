"""What stands around a published data set: its file formats, its card, its Croissant metadata."""
