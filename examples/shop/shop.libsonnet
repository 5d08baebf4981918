// The shop, as a function of the release: which application, which version of the orders' schema, and
// which version of PostgreSQL's data. The files site-v1.jsonnet … site-v4.jsonnet choose one each.
local c = import 'consort.libsonnet';

local ports = { sql: 5432, app: 8081, http: 8080, front: 8000, admin: 8404 };

function(release) c.site('shop') {
  purpose: 'people place orders; no acknowledged order is ever lost',

  hostClasses: {
    lb: { inventory: c.inventory.file('hosts.yaml'), purpose: 'where customers come in' },
    web: { inventory: c.inventory.file('hosts.yaml'), purpose: 'runs the application' },
    db: { inventory: c.inventory.file('hosts.yaml'), purpose: 'keeps the orders' },
  },

  services: {
    postgres: c.service {
      purpose: 'the one place where orders live',
      on: 'db',
      version: 'postgresql 15, data %d' % release.data,
      dataVersion: release.data,
      provides: { sql: { port: ports.sql, purpose: 'the database shop' } },
      artifacts: { tools: c.folder('postgres') },
      daemon: c.daemon([
        // PostgreSQL refuses to run as root; as anybody else it runs as it is.
        '${artifact.tools}/as-postgres',
        '/usr/lib/postgresql/15/bin/postgres',
        '-D',
        '${service.data}/pg',
        '-c',
        'listen_addresses=${host.address}',
        '-c',
        'port=%d' % ports.sql,
        '-c',
        'unix_socket_directories=',
      ]) {
        stopSignal: 'SIGINT',  // "fast": open sessions are ended, nothing is lost
        readiness: c.tcpPort(ports.sql) { address: '${host.address}' },
      },
      hooks: {
        setup: c.hook(['${artifact.tools}/initialise']),
        validate: c.hook(['${artifact.tools}/answers', std.toString(ports.sql)]) { timeout: '30s' },
        backup: c.hook(['${artifact.tools}/copy']),
        restore: c.hook(['${artifact.tools}/put-back']),
        migrate: c.hook(['${artifact.tools}/migrate-%s' % release.migration]),
      },
    },

    shop: c.service {
      local sql = self.needs.sql,
      purpose: 'takes orders and shows them',
      on: 'web',
      version: release.app,
      dataVersion: release.schema,
      needs: { sql: c.endpoint('postgres', 'sql') },
      uses: { lb: c.endpoint('haproxy', 'admin') },
      provides: { http: { port: ports.http, health: c.httpGet('/healthz'), purpose: 'POST and GET /orders' } },
      artifacts: { app: c.folder('app/' + release.app), hooks: c.folder('hooks') },
      resources: {
        config: c.file('${service.dir}/config.json', std.manifestJsonEx({
          database: sql.url('postgresql', '/shop?user=shop'),
          listen: { address: '${host.address}', port: ports.app },
          host: '${host.name}',
        }, '  ') + '\n') { mode: '0644', purpose: 'tells the shop where its orders are' },
        'nginx-config': c.file('${service.dir}/nginx.conf', (importstr 'nginx.conf') % ports) {
          mode: '0644',
          purpose: 'takes requests in and passes them to the application beside it',
        },
        nginx: { type: 'daemon' } + c.daemon(['/usr/sbin/nginx', '-e', 'stderr', '-p', '${service.run}', '-c', '${service.dir}/nginx.conf']) {
          stopSignal: 'SIGQUIT',  // requests under way are answered first
          readiness: c.tcpPort(ports.http) { address: '${host.address}' },
          purpose: 'shields the application from slow clients',
        },
      },
      daemon: c.daemon(['/usr/bin/python3', '${artifact.app}/shop.py', '--config', '${service.dir}/config.json']) {
        readiness: c.tcpPort(ports.app) { address: '${host.address}' },
      },
      hooks: {
        setup: c.hook(['${artifact.hooks}/schema']),
        migrate: c.hook(['${artifact.hooks}/schema']) { scope: 'service' },
        validate: c.hook(['${artifact.hooks}/healthy', std.toString(ports.http)]) { timeout: '30s' },
        drain: c.hook(['${artifact.hooks}/balance', 'leave']) { timeout: '1m' },
        undrain: c.hook(['${artifact.hooks}/balance', 'join']) { timeout: '1m' },
      },
    },

    haproxy: c.service {
      local web = self.needs.web,
      purpose: 'one address for customers, whichever web hosts are up',
      on: 'lb',
      version: 'haproxy 2.6',
      needs: { web: c.endpoint('shop', 'http') },
      provides: {
        front: { port: ports.front, health: c.httpGet('/alive'), purpose: 'where customers come in' },
        admin: { port: ports.admin, purpose: 'the runtime commands with which hosts leave and join' },
      },
      artifacts: { hooks: c.folder('hooks') },
      resources: {
        config: c.file('${service.dir}/haproxy.cfg', (importstr 'haproxy.cfg') % ports + std.join('', [
          '  server %s %s:%d\n' % [web.hosts[i], web.addresses[i], web.port]
          for i in std.range(0, std.length(web.hosts) - 1)
        ])) { mode: '0644', purpose: 'which web hosts there are' },
      },
      daemon: c.daemon(['/usr/sbin/haproxy', '-db', '-f', '${service.dir}/haproxy.cfg']) {
        readiness: c.tcpPort(ports.front) { address: '${host.address}' },
      },
      hooks: {
        validate: c.hook(['${artifact.hooks}/healthy', std.toString(ports.front), '/alive']) { timeout: '30s' },
      },
    },
  },

  policy: { maxUnavailable: 1, batches: [1, '100%'], soak: '1s', onFailure: 'revert' } + release.policy,
}
