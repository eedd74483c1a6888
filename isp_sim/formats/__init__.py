"""Readers and writers of pictures."""

import logging

# without a handler, each damaged tag is a line in the terminal; a program that sets up logging gets them all the same
logging.getLogger("tifffile").addHandler(logging.NullHandler())
