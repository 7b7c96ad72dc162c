# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for one test, by the openssl command."""

import pathlib
import subprocess


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


class Authority:
    def __init__(self, directory, name="ca"):
        self.directory = pathlib.Path(directory)
        self.certificate = str(self.directory / f"{name}.crt")
        self.key = str(self.directory / f"{name}.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN=sonde test {name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, san="DNS:localhost,IP:127.0.0.1", subject=None, days=2):
        """(certificate file, key file); less than 0 days: it has expired."""
        certificate, key = (str(self.directory / f"{name}.{end}") for end in ("crt", "key"))
        request, extra = str(self.directory / f"{name}.csr"), self.directory / f"{name}.ext"
        extra.write_text(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 subject or f"/CN={name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                 "-days", str(days), "-extfile", str(extra), "-out", certificate)
        return certificate, key
