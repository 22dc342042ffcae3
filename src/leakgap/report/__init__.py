"""What people read: tables, figures, the page, two studies beside each other."""

import os

# figures are files: no window, and no backend that a notebook or a shell has named and this process may not have
os.environ["MPLBACKEND"] = "agg"
