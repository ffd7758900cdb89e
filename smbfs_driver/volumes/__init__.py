"""The volumes of a share: their files, and every operation on them."""
