# SPDX-License-Identifier: Apache-2.0
"""What the dashboards are made of: queries, panels, variables and their layout."""
