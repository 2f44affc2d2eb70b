"""The evidence: experiments with the product, their settings and results. Nothing in the product imports this folder."""
