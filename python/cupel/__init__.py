"""Cupel tries hypervisors: real code under injected faults, judged by oracles.

The package lies in two directories on PYTHONPATH: this one, and <build>/python with the native
module `cupel._core`.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
