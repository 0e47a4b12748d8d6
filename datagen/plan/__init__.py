"""The plan: parts, waves, groups, splits, and the tasks of the stages."""
