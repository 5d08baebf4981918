// A release that does not work: its health check fails, so it goes back by itself.
(import 'shop.libsonnet')({ app: 'v3', schema: 2, data: 1, migration: 'none', policy: {} })
