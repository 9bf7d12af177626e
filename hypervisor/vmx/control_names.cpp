#include "hypervisor/vmx/control_names.h"

#include <span>

namespace cupel::vmx {
namespace {

struct BitName {
  uint8_t bit;
  const char* name;
};

constexpr BitName kPin[] = {{0, "external-interrupt exiting"},
                            {3, "NMI exiting"},
                            {5, "virtual NMIs"},
                            {6, "activate VMX-preemption timer"},
                            {7, "process posted interrupts"}};
constexpr BitName kPrimary[] = {{2, "interrupt-window exiting"},
                                {3, "use TSC offsetting"},
                                {7, "HLT exiting"},
                                {9, "INVLPG exiting"},
                                {10, "MWAIT exiting"},
                                {11, "RDPMC exiting"},
                                {12, "RDTSC exiting"},
                                {15, "CR3-load exiting"},
                                {16, "CR3-store exiting"},
                                {17, "activate tertiary controls"},
                                {19, "CR8-load exiting"},
                                {20, "CR8-store exiting"},
                                {21, "use TPR shadow"},
                                {22, "NMI-window exiting"},
                                {23, "MOV-DR exiting"},
                                {24, "unconditional I/O exiting"},
                                {25, "use I/O bitmaps"},
                                {27, "monitor trap flag"},
                                {28, "use MSR bitmaps"},
                                {29, "MONITOR exiting"},
                                {30, "PAUSE exiting"},
                                {31, "activate secondary controls"}};
constexpr BitName kSecondary[] = {{0, "virtualize APIC accesses"},
                                  {1, "enable EPT"},
                                  {2, "descriptor-table exiting"},
                                  {3, "enable RDTSCP"},
                                  {4, "virtualize x2APIC mode"},
                                  {5, "enable VPID"},
                                  {6, "WBINVD exiting"},
                                  {7, "unrestricted guest"},
                                  {8, "APIC-register virtualization"},
                                  {9, "virtual-interrupt delivery"},
                                  {12, "enable INVPCID"},
                                  {17, "enable PML"},
                                  {18, "EPT-violation #VE"},
                                  {22, "mode-based execute control for EPT"}};
constexpr BitName kExit[] = {{2, "save debug controls"},
                             {9, "host address-space size"},
                             {15, "acknowledge interrupt on exit"},
                             {18, "save IA32_PAT"},
                             {19, "load IA32_PAT"},
                             {20, "save IA32_EFER"},
                             {21, "load IA32_EFER"},
                             {22, "save VMX-preemption timer value"}};
constexpr BitName kEntry[] = {{2, "load debug controls"}, {9, "IA-32e mode guest"},
                              {10, "entry to SMM"},       {11, "deactivate dual-monitor treatment"},
                              {14, "load IA32_PAT"},      {15, "load IA32_EFER"}};

std::span<const BitName> names_of(ControlField field) {
  switch (field) {
    case ControlField::pin:
      return kPin;
    case ControlField::primary:
      return kPrimary;
    case ControlField::secondary:
      return kSecondary;
    case ControlField::exit:
      return kExit;
    case ControlField::entry:
      return kEntry;
  }
  return {};
}

std::string name_of(ControlField field, unsigned bit) {
  for (const BitName& row : names_of(field)) {
    if (row.bit == bit) return row.name;
  }
  return "bit " + std::to_string(bit);
}

}  // namespace

const char* field_name(ControlField field) {
  switch (field) {
    case ControlField::pin:
      return "pin-based controls";
    case ControlField::primary:
      return "primary processor-based controls";
    case ControlField::secondary:
      return "secondary processor-based controls";
    case ControlField::exit:
      return "VM-exit controls";
    case ControlField::entry:
      return "VM-entry controls";
  }
  return "controls";
}

std::string bit_names(ControlField field, uint32_t bits) {
  std::string text;
  for (unsigned bit = 0; bit < 32; ++bit) {
    if ((bits >> bit & 1) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name_of(field, bit);
  }
  return text;
}

}  // namespace cupel::vmx
