// Short constructors for sites. Everything here only saves typing: each call gives the plain JSON that the
// site reference describes.
{
  site(name):: { name: name },
  service:: {},

  inventory:: {
    file(path, group=null):: std.prune({ type: 'file', path: path, group: group }),
    exec(argv, group=null):: std.prune({ type: 'exec', argv: argv, group: group }),
    http(url, group=null):: std.prune({ type: 'http', url: url, group: group }),
    registry(selector):: { type: 'registry', selector: selector },
    hosts(hosts):: { type: 'hosts', hosts: hosts },
  },

  // An endpoint of another service. Only its identity is visible; what it resolves to is known once the
  // fleet is, so use these fields in resources, daemon and hooks.
  endpoint(service, name):: {
    local found = std.native('consort.endpoint')(service, name),
    service: service,
    endpoint: name,
    addresses:: found.addresses,
    address:: found.addresses[0],
    hosts:: found.hosts,
    port:: found.port,
    // Not by std.format and, below, not by std.prune: libjsonnet takes milliseconds for each.
    url(scheme, path=''):: scheme + '://' + found.addresses[0] + ':' + found.port + path,
  },

  // Paths are relative to the site file; `at(std.thisFile)` makes them relative to another file.
  local paths(prefix) = {
    local under(path) = if prefix == '' || std.startsWith(path, '/') then path else prefix + path,
    archive(path):: { archive: under(path) },
    folder(path):: { folder: under(path) },
    blob(path):: { file: under(path) },
    hook(what):: if std.isString(what) then { path: under(what) } else { argv: what },
  },
  at(file):: paths(std.join('/', std.split(file, '/')[:std.length(std.split(file, '/')) - 1]) + '/'),
} + {
  local paths = {
    archive(path):: { archive: path },
    folder(path):: { folder: path },
    blob(path):: { file: path },
    hook(what):: if std.isString(what) then { path: what } else { argv: what },
  },
  archive:: paths.archive,
  folder:: paths.folder,
  blob:: paths.blob,
  hook:: paths.hook,

  file(path, content=null):: { type: 'file', path: path } + (if content == null then {} else { content: content }),
  directory(path):: { type: 'directory', path: path },
  symlink(path, target):: { type: 'symlink', path: path, target: target },
  user(name):: { type: 'user', name: name },
  group(name):: { type: 'group', name: name },
  command(argv):: { type: 'command', argv: argv },
  daemon(argv):: { argv: argv },

  // How a daemon shows that it is ready.
  httpGet(path, port=null):: { type: 'http', path: path } + (if port == null then {} else { port: port }),
  tcpPort(port):: { type: 'tcp', port: port },
  notify:: { type: 'notify' },
}
