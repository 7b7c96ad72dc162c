# SPDX-License-Identifier: Apache-2.0
"""One module per dashboard; each has board(), which returns the dashboard as a dict."""
