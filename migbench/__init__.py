"""migbench: score vision-language models on MIG-Bench, the multi-image grounding benchmark."""
