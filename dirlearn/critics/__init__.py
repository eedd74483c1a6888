"""Critics: networks that score how well a representation and an image belong together."""
