"""How a picture is fetched and decoded safely."""
