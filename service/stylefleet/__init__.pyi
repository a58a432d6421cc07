from stylefleet.client import Client as Client
from stylefleet.errors import ManifestInvalid as ManifestInvalid
from stylefleet.errors import StylefleetError as StylefleetError
from stylefleet.status import Phase as Phase
from stylefleet.status import Status as Status
from stylefleet.style_job import StyleJob as StyleJob

__version__: str
