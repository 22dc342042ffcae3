"""The paper's claims on trial: `between` estimates, `case` finds rows, `questions` asks, `claim` writes down."""
