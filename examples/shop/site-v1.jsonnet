// The first release.
(import 'shop.libsonnet')({ app: 'v1', schema: 1, data: 1, migration: 'none', policy: {} })
