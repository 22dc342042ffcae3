"""What orders the leak of ways of training: fit, gap or accuracy; for any study, whatever its variants are."""
