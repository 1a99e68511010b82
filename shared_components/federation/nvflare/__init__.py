"""The engine for clients on other machines, on NVIDIA FLARE, which is an extra: ``pip install -e ".[nvflare]"``.

A job holds all that server and sites run: this package, the bundle, and the federation without anybody's data. On the
server a controller runs the same coordinator as the local engine; each site's client is the same as there.
"""
