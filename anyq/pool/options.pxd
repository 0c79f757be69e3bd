# There is nothing to say of its classes, which are Python's.
