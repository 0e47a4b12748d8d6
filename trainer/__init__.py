"""Trains MegActor from the data sets that `datagen` makes."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet unless the program sets up logging
