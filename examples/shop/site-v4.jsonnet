// A new version of PostgreSQL's data, whose migration destroys them: everything goes back by itself.
(import 'shop.libsonnet')({ app: 'v2', schema: 2, data: 2, migration: 'broken', policy: { allowOutage: true } })
