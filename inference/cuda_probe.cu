// gpu_probe: whether each GPU computes and remembers what it should, and how fast its memory is: what `make gpu-check` runs before it
// measures the pool. Writes a pattern over a part of the memory, copies it on the device, and compares every word on the device. Prints
// `name value unit` lines; exits with 1 if a device fails or gives a wrong word, with 2 if there is none.
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>

namespace {

constexpr std::size_t kWords = std::size_t{1} << 28;  // 1 GiB, twice: too much for any cache.
constexpr int kRounds = 20;
constexpr int kThreads = 256;

__device__ std::uint32_t Pattern(std::size_t i) { return static_cast<std::uint32_t>(i * 2654435761U ^ (i >> 11)); }

__global__ void Fill(std::uint32_t* words, std::size_t count) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) words[i] = Pattern(i);
}

__global__ void Copy(const uint4* from, uint4* to, std::size_t count) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) to[i] = from[i];
}

__global__ void Compare(const std::uint32_t* words, std::size_t count, unsigned long long* wrong) {
  const std::size_t stride = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    if (words[i] != Pattern(i)) atomicAdd(wrong, 1ULL);
  }
}

bool Went(cudaError_t code, int device, const char* what) {
  if (code == cudaSuccess) return true;
  std::fprintf(stderr, "gpu_probe: device %d: %s: %s\n", device, what, cudaGetErrorString(code));
  return false;
}

struct Buffers {
  std::uint32_t* from = nullptr;
  std::uint32_t* to = nullptr;
  unsigned long long* wrong = nullptr;
  cudaEvent_t began = nullptr;
  cudaEvent_t ended = nullptr;
};

bool Allocate(int device, Buffers& b) {
  return Went(cudaSetDevice(device), device, "cannot be used") && Went(cudaMalloc(&b.from, kWords * 4), device, "1 GiB of memory") &&
         Went(cudaMalloc(&b.to, kWords * 4), device, "another GiB of memory") && Went(cudaMalloc(&b.wrong, 8), device, "memory") &&
         Went(cudaMemset(b.wrong, 0, 8), device, "memory") && Went(cudaEventCreate(&b.began), device, "timer") &&
         Went(cudaEventCreate(&b.ended), device, "timer");
}

bool Probe(int device) {
  cudaDeviceProp properties{};
  Buffers b;
  if (!Went(cudaGetDeviceProperties(&properties, device), device, "properties") || !Allocate(device, b)) return false;
  const int blocks = properties.multiProcessorCount * 16;
  const auto copy = [&] { Copy<<<blocks, kThreads>>>(reinterpret_cast<const uint4*>(b.from), reinterpret_cast<uint4*>(b.to), kWords / 4); };
  Fill<<<blocks, kThreads>>>(b.from, kWords);
  copy();
  cudaEventRecord(b.began);
  for (int i = 0; i < kRounds; ++i) copy();
  cudaEventRecord(b.ended);
  Compare<<<blocks, kThreads>>>(b.to, kWords, b.wrong);
  float took_ms = 0;
  unsigned long long wrong = 0;
  if (!Went(cudaDeviceSynchronize(), device, "computing") || !Went(cudaEventElapsedTime(&took_ms, b.began, b.ended), device, "timing") ||
      !Went(cudaMemcpy(&wrong, b.wrong, 8, cudaMemcpyDeviceToHost), device, "reading back")) {
    return false;
  }
  std::printf("gpu_probe.device%d.copy %.0f GB/s\n", device, 2.0 * kWords * 4 * kRounds / took_ms / 1e6);
  std::printf("gpu_probe.device%d.wrong_words %llu count\n", device, wrong);
  cudaFree(b.from);
  cudaFree(b.to);
  cudaFree(b.wrong);
  return wrong == 0;
}

}  // namespace

int main() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess || count == 0) {
    std::fprintf(stderr, "gpu_probe: no GPU: %s\n", code == cudaSuccess ? "the driver shows none" : cudaGetErrorString(code));
    return 2;
  }
  bool good = true;
  for (int device = 0; device < count; ++device) good = Probe(device) && good;
  return good ? 0 : 1;
}
