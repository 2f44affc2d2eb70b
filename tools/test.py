from pcka_mmdet.cli import main

if __name__ == "__main__":
    main(command="test")
