"""`make bench`: the project against bare baselines, in one run."""
