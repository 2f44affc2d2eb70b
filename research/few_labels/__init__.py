"""What images without labels are worth: students and teachers of few labelled images. See PROTOCOL.md."""
