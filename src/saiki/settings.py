"""What a user may set for the whole process; see :data:`saiki.verify`."""

import os

verify = os.environ.get("SAIKI_VERIFY", "1") not in ("0", "false", "no", "off")
