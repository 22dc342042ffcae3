"""One thin adapter for each rule and each verb: a study in, plain arguments to the rooms, files out."""
