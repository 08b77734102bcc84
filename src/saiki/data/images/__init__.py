"""Images: files of others read with care, folders of them, and what becomes of them."""
