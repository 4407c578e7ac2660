// Stand-in for TFLM's interface: just enough to test engine_tflm.cc's checks on a workstation.
#pragma once
namespace tflite {
class MicroOpResolver {};
} // namespace tflite
