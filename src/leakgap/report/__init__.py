"""What people read: tables, figures, the page, two studies beside each other."""
