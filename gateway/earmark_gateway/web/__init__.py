"""The caregivers' page: works without JavaScript, on an old phone, at three in the morning."""
