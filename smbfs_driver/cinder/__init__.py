"""What Cinder calls, family by family; these modules may import Cinder."""
