s|init=/nix/store/[^ ]*/init|init=/nix/store/00000000000000000000000000000000-nixos-system-nixos/init|
