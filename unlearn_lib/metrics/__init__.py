"""The audits. Measuring changes no weight, buffer, mode or random stream."""
