"""From a folder of recordings to a calibrated int8 model bundle."""
