"""Attack success and how sure it is: ROC readings, bootstrap, contrasts, the lower bound of epsilon."""
