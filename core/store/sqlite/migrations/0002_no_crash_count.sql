-- How often the hub had died while a delivery was in flight: connectors run in processes of
-- their own, so that it says nothing about the delivery.
ALTER TABLE deliveries DROP COLUMN crashes;
