"""The admin server of the real command: from its config to its answers."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.acceptance_bridge import Command, Process
from support.scraped import scraped
