"""People's own pictures of digits: read, and brought into MNIST's form."""

UNSURE_BELOW = 0.9  # a prediction with a lower probability is marked as unsure
