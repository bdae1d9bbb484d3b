// One object a running call: the bridge between gRPC's reactions and a coroutine on a strand of ours.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "base/networks.h"
#include "gateway/grpc/inside.h"
#include "gateway/pipeline/service.h"

namespace tollgate::grpc_front {

// What every call of a front end shares; outlives them.
struct CallContext {
  pipeline::Service& service;
  std::function<boost::asio::any_io_executor()> new_strand;
  boost::asio::any_io_executor cpu;  // Where large messages are parsed.
  boost::asio::any_io_executor timers;
  std::chrono::milliseconds write_timeout;  // Of each piece of a stream, and of each answer.
  base::Networks proxies;                   // Whose word counts for who calls.
  Inside inside;                            // Counts the coroutines,
  Inside open;                              // and the calls, until gRPC has sent their ends.
};

// Each starts a call and returns its reactor, which deletes itself when gRPC is done with it.
::grpc::ServerUnaryReactor* StartChat(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                      ::grpc::ByteBuffer* reply);
::grpc::ServerUnaryReactor* StartCount(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                       ::grpc::ByteBuffer* reply);
::grpc::ServerUnaryReactor* StartEmbed(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                       ::grpc::ByteBuffer* reply);
::grpc::ServerUnaryReactor* StartRerank(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                        ::grpc::ByteBuffer* reply);
::grpc::ServerUnaryReactor* StartList(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                      ::grpc::ByteBuffer* reply);
::grpc::ServerWriteReactor<::grpc::ByteBuffer>* StartChatStream(CallContext& shared, ::grpc::CallbackServerContext* rpc,
                                                                const ::grpc::ByteBuffer* request);

}  // namespace tollgate::grpc_front
