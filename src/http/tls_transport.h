// TLS on an accepted socket. Private to this room.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "http/tls_context.h"
#include "http/transport.h"

namespace consort::http {

[[nodiscard]] std::shared_ptr<Transport> make_tls_transport(
    boost::asio::ip::tcp::socket socket, std::shared_ptr<const TlsServerSettings> settings);

}  // namespace consort::http
