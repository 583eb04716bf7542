"""What gunicorn's command line cannot say; see core.programs.web for the rest."""

from gunicorn.http import message

# A query may stand in the address: downloads promises lines up to 32 KiB, gunicorn allows 8190 bytes at most.
limit_request_line = 40 * 1024
message.MAX_REQUEST_LINE = limit_request_line + 1
