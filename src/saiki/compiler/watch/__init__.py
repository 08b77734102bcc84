"""What a kernel depends on beside the arguments of ``step``: found, and watched at every call."""
