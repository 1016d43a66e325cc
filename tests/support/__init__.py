"""What several tests share: data, runs, adapters and servers made for them."""
